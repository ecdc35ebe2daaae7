"""What the files of runs, audits and suggestions hold, without torch or numpy.

Pages open by these schemas alone.
"""
