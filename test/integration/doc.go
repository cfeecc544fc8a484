// Package integration tests Tidegate against local clusters of real programs: the loops and the
// webhook on an API server, the chart with Helm, the queries with Prometheus, and everything
// together on a stage with requests. It holds tests only.
package integration
