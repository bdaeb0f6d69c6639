"""VTAB-1K: prompts, linear probe and full fine-tuning over 19 tasks of 1,000 images, by the published protocol.

README.md beside this file has the protocol, what differs between the routes to the data, and the commands.
"""
