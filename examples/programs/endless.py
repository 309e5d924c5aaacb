# Never ends: the sandbox ends it.
while True:
    pass
