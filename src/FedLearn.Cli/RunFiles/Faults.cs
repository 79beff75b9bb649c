using FedLearn.Diagnostics;

namespace FedLearn.Cli.RunFiles;

/// <summary>Collects what is wrong with one file, so that people mend everything at once.</summary>
/// <param name="file">The file, as the user named it.</param>
internal sealed class Faults(string file)
{
    private readonly List<(string Id, string Path, bool IsWritten, string Cause, string Remedy)> _faults = [];

    /// <summary>The file, as the user named it.</summary>
    public string File { get; } = file;

    /// <summary>Where values come from that stand in for those of the file, by the path of their key.</summary>
    public IReadOnlyDictionary<string, string> Sources { get; init; } = new Dictionary<string, string>();

    /// <summary>Values from the command line that stand in for those of the file, option and value as they were written, by the path of their key: the file is
    /// not the place of what is wrong with them.</summary>
    public IReadOnlyDictionary<string, string> Written { get; init; } = new Dictionary<string, string>();

    /// <summary>Adds a fault; an id FL5nnn makes it a refusal by privacy.</summary>
    /// <param name="id">Id.</param>
    /// <param name="path">Path of the key, such as <c>parties[0].name</c>; empty for the whole file.</param>
    /// <param name="cause">What is wrong, as a sentence.</param>
    /// <param name="remedy">What to do, as a sentence.</param>
    public void Add(string id, string path, string cause, string remedy)
    {
        var fault = (id, Written.GetValueOrDefault(path) ?? (Sources.TryGetValue(path, out string? source) ? $"{path} (from {source})" : path), Written.ContainsKey(path), cause, remedy);
        // An object that several readers look at is at fault once.
        if (!_faults.Contains(fault))
            _faults.Add(fault);
    }

    /// <summary>Throws one error for all faults. Mistakes of the file come before refusals: the latter are certain only once the file is right.</summary>
    /// <exception cref="ConfigurationException">The file has a mistake; the id is that of the first.</exception>
    /// <exception cref="PrivacyRefusedException">The file is right, and asks for what the privacy mathematics does not cover.</exception>
    public void ThrowIfAny()
    {
        if (_faults.Count == 0)
            return;
        var (id, path, written, cause, remedy) = _faults.Find(f => f.Id[2] == '2') is { Id: not null } mistake ? mistake : _faults[0];
        string place = written ? path : path.Length > 0 ? $"{File}: {path}" : File;
        if (_faults.Count > 1)
        {
            place = File;
            cause = $"{_faults.Count} faults:" + string.Concat(_faults.Select(f => $"{Environment.NewLine}  {f.Path}: {f.Cause} {f.Remedy} ({f.Id})")) + Environment.NewLine;
            remedy = "Mend them all, then start again.";
        }

        throw id[2] == '5'
            ? new PrivacyRefusedException(id, place, cause, remedy)
            : new ConfigurationException(id, place, cause, remedy);
    }
}
