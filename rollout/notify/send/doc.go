// Package send delivers events to the sinks of the platform's file: Slack, servers that take
// CloudEvents, and whatever the sender library knows by a URL.
//
// A Sender makes one attempt and says whether another one makes sense. It reads its secrets
// for each attempt, so that a rotated one counts at once. What it says of a failure is made
// here, of codes and classes of errors: the words of clients and servers are never repeated,
// since a URL, and with it a token, may stand in them.
package send
