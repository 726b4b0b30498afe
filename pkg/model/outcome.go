package model

// Outcomes is what a service makes of connections that its backends refuse or do
// not answer.
type Outcomes struct{}
