"""One config from start to verdict, and the other ways into the program: a plan, one layer, mutation."""
