module servicelab.local/pause

go 1.26.0
