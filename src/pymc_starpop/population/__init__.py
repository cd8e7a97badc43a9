"""Which stars a population has: mass functions, ages, and the weights of model tracks."""
