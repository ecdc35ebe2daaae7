"""Where pixels lie and how they are decoded."""
