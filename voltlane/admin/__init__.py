"""The admin endpoint: what an operator sees of a running server, over HTTP on the same reactor.

    http1        bytes ↔ requests and answers (h11)         guard       who may ask
    target       the forms of a request's target            handlers    what each path answers
    router       paths → handlers                           places      who may stay when there are too many
    listing      sorting and paging many clients, sliced    exposition  /metrics
    events       viewers of the live stream                 page        the page at /
    viewer       what the stream needs of a connection      recorder    what becomes of clients
    answers      responses, refusals, headers               figures     statistics as JSON
    subject      what it knows of the server                connection  one HTTP connection
    endpoint     all of it joined

It knows the server as a `subject.Subject`. Needs the extra `web` (h11, prometheus-client); every module can be imported
without it, and `endpoint.require_extra` says what is missing.
"""
