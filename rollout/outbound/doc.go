// Package outbound has what calls out of the cluster share: how they are signed, what their
// failures are called, and how long a server may ask to be left alone. It calls nobody itself.
package outbound
