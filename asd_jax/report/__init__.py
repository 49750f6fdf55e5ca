"""A page about trained workdirs, for people.

excerpts: what is seen and heard of single clips.
findings: what a workdir says of its test clips.
markup: HTML.
page: the whole page.
pictures: pictures.
sections: a section a machine.
"""
