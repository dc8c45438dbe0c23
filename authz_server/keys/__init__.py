"""The keys of user pools: what a set holds, when to fetch it, the fetch, and what checks read."""
