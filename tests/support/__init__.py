"""What the tests share: servers, a faulty network, fixtures. No tests here."""
