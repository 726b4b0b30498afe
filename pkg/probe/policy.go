package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// PolicyAnswer is what a policy found out about a backend.
type PolicyAnswer struct {
	Healthy bool
	// Reason is why it is not healthy; Role what it says it is, for example
	// "primary". Either may be empty.
	Reason, Role string
}

// PolicyFunc lets the policy of that name speak with the backend at the other
// end of conn, until ctx ends. An error is a failure of the policy and says
// nothing of the backend.
type PolicyFunc func(ctx context.Context, policy string, conn net.Conn) (PolicyAnswer, error)

// policyCheck passes if a policy says so.
type policyCheck struct {
	connector
	policy string
	ask    PolicyFunc
}

func (c policyCheck) check(ctx context.Context) (role string, err error) {
	if c.ask == nil {
		return "", fmt.Errorf("%w: no policies are loaded", errLocal)
	}
	conn, done, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	defer done()
	answer, err := c.ask(ctx, c.policy, conn)
	switch {
	case err != nil && ctx.Err() != nil:
		// Most often it waited for a backend that does not answer.
		return "", c.reason(ctx, phasePolicy, err)
	case err != nil:
		return "", fmt.Errorf("%w: %w", errLocal, err)
	case answer.Healthy:
		return answer.Role, nil
	case answer.Reason == "":
		return answer.Role, errors.New("the policy says it is unhealthy")
	}
	return answer.Role, errors.New(answer.Reason)
}
