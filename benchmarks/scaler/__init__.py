"""What it costs to answer KEDA, and how soon it is answered, with a thousand ScaledObjects."""
