"""Order and time, pure: which machines move together, and in which order (`waves`); when sources may be stopped
(`windows`)."""
