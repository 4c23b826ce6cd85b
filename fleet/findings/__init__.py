"""What audits find on gateways: reported by agents, kept with their states, accepted by people, told of."""
