"""What a run shows: figures and the page that holds them. Only here is matplotlib imported."""
