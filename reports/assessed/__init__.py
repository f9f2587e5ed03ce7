"""What an assessment came to, as pages that ask nobody: an index, a page an app, a page a machine.

    assessments, plan, offer ── estate (apps, waves, room) ── pages ──> index.html, app-NAME.html, MACHINE/index.html

`telling` has the words for people: how much is copied and how long nobody answers, how it is proven and goes back.
Everything is pure; who asks for a page gets its text, and writes it where he likes.
"""
