"""What `generate` draws, and the files it leaves: numbered images, labelled sets, arithmetic with latents."""
