"""What existing submissions to the public benchmark depend on, wrong places included. Nothing else imports this."""
