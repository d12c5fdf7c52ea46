"""The rules computed: every published example, every bracket, every trap."""
