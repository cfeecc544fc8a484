// Package library holds the policies that Tidegate ships, a folder each. Here are the tests
// that all of them have to pass.
package library
