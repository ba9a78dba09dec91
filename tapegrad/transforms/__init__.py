"""Jacobians, Hessians and products with them, of functions of Tensors."""
