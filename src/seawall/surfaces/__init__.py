"""What people and programs touch: commands today, an API and a console later."""
