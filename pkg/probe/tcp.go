package probe

import "context"

// tcpCheck passes if the backend completes the TCP handshake. Nothing is sent.
type tcpCheck struct{ connector }

func (c tcpCheck) check(ctx context.Context) (role string, err error) {
	_, done, err := c.connect(ctx)
	if err != nil {
		return "", err
	}
	done()
	return "", nil
}
