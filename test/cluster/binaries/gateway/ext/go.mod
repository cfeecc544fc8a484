// Stands in for a module that the gateway's main dependency requires but does not publish.
module github.com/traefik/traefik/dynamic/ext

go 1.26.0
