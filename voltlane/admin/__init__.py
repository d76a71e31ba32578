"""The admin endpoint: what an operator sees of a running server, over HTTP on the same reactor.

    connection   one HTTP connection                        guard       who may ask
    router       paths → handlers                           handlers    what each path answers
    steps        work of more than a turn                   choice      which clients stand on a page
    listing      sorting and paging many clients, sliced    places      who may stay when there are too many
    events       viewers of the live stream                 exposition  /metrics
    viewer       what the stream needs of a connection      page        the page at /
    subject      what it knows of the server                recorder    what becomes of clients
    endpoint     all of it joined                           figures     statistics as JSON
    history      the last quarter of an hour as JSON

HTTP itself is in `wire/http1`. The endpoint knows the server as a `subject.Subject`. Needs the extra `web` (h11,
prometheus-client); every module can be imported without it, and `endpoint.require_extra` says what is missing.
"""
