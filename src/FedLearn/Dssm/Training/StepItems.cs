namespace FedLearn.Dssm;

/// <summary>Which items a step of training looks at: their vectors are evaluated and stepped with, and no others, however large the catalogue is.</summary>
/// <remarks>An item that is none of them had no part in the loss, and the gradient 0: leaving it out changes no bit of a tower whose rows are evaluated one by one. Items keep their places in the evaluation, on which dropout depends.</remarks>
internal sealed class StepItems(int items)
{
    private readonly int[] _all = [.. Enumerable.Range(0, items)], _index = new int[items];

    /// <summary>What a tower evaluates: an item at its place, -1 where it is left out.</summary>
    public ReadOnlySpan<int> Index => Rows is null ? _all : _index;

    /// <summary>The items of the step, in ascending order; null: all.</summary>
    public int[]? Rows { get; private set; }

    /// <summary>Takes all items.</summary>
    public void TakeAll() => Rows = null;

    /// <summary>Takes the items of a batch. With pads others too, so that their number is the same whatever the batch holds, and the time of a step does not tell how many of its items differ.</summary>
    public void Take(ReadOnlySpan<int> targets, ReadOnlySpan<int> negatives, bool pads)
    {
        Array.Fill(_index, -1);
        int count = 0, most = (int)Math.Min(items, (long)targets.Length + negatives.Length);
        foreach (int item in targets)
            Add(item);
        foreach (int item in negatives)
            Add(item);
        for (int item = 0; pads && count < most; item++)
            Add(item);
        int[] rows = new int[count];
        for (int item = 0, at = 0; at < count; item++)
            if (_index[item] >= 0)
                rows[at++] = item;
        Rows = rows;

        void Add(int item)
        {
            if (_index[item] >= 0)
                return;
            _index[item] = item;
            count++;
        }
    }
}
