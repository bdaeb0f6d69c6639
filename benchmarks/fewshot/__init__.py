"""Few-shot learning with CLIP: accuracy against shots, base-to-new generalisation, transfer to other tasks.

README.md beside this file has the protocol, how it differs from the published one, and the commands.
"""
