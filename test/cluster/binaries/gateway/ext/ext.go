// Package ext holds the two empty extension points that Traefik's dynamic configuration embeds.
// Traefik keeps them in a module of its own that its published archive leaves out, so a build
// against Traefik as a library has to bring them.
package ext

// HTTP extends the HTTP configuration with nothing.
type HTTP struct{}

// Router extends a router with nothing.
type Router struct{}
