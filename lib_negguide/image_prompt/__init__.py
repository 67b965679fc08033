"""Pictures as prompts: IP-Adapter in both branches of guidance, with windows and weights, host-free."""
