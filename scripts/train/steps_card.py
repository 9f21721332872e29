def card(f): return 'x'
class Findings:
    def __init__(s,**k): s.__dict__.update(k)
