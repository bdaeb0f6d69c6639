"""The `vpt` command: one file per subcommand, thin, on top of what `import vpt` offers."""
