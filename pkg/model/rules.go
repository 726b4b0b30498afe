package model

// Rules say which packets of a service are taken, and which backends they may
// have.
type Rules struct{}
