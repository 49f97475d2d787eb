"""`gradcheck ops`: the functions of a module, each called in ways that suit it, at points where gradients go wrong."""
