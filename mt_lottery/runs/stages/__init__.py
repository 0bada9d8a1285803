"""What a run goes through, once its folder is prepared and the model loaded."""
