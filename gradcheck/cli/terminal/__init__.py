"""What the commands share: options, standard output and error, files, and errors as a person reads them."""
