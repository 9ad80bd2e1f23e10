"""HTTP: who may call, what is asked, and how it is answered."""
