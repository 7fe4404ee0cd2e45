"""What a server on the internet needs around the application: listeners, TLS by ACME, an orderly end."""
