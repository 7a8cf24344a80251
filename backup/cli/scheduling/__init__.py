"""Running profiles at set times: by systemd's timers, or by cron."""
