"""What tests share: small networks, recorded cases, stand-ins."""
