"""Laws: properties that hold for every input, tried on inputs that hypothesis makes up."""
