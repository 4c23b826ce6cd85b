"""What ikewarden is delivered in: wheel, units, images, chart."""
