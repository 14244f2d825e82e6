"""The files a trial leaves on disk: write, read, import and export AlgoPerf logs."""
