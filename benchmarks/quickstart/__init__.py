"""The main job of the README: prompts against linear probe and full fine-tuning, on the embedded backbone and tasks."""
