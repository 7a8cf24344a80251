"""Profiles: what to back up where, and what is kept of it, in a TOML file of the user's."""

from backup.cli.profiles.file import load, profile_directory, profile_file, profile_names
from backup.cli.profiles.profile import Hooks, Profile, Rule
from backup.cli.profiles.reading import Problem, ProfileError, read_profile

__all__ = [
    "Hooks",
    "Problem",
    "Profile",
    "ProfileError",
    "Rule",
    "load",
    "profile_directory",
    "profile_file",
    "profile_names",
    "read_profile",
]
