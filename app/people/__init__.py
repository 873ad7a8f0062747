"""Who lives, works and asks here: property companies, communities, spaces, residents, staff, keys, sign-in."""
