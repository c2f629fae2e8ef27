"""The commands of `weft` that ask a controller, by what they are about: options, question, answer in words."""
