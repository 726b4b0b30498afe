package model

// Selection is how a service chooses the backend of a new flow.
type Selection struct{}
