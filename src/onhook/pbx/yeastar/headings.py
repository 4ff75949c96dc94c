"""Column headings of call files: those of the PBX's web page in its languages, and those of Onhook's own export.

Invariant: headings are compared without case, accents, blanks and units, so that `Duración de la llamada(s)` and
`duracion de la llamada` are one.
"""

import re
import unicodedata
from collections.abc import Mapping
from functools import cache

# Name in the PBX's list to its headings: English, Spanish, German, French, Italian, Portuguese, Dutch, Polish, Czech,
# Turkish, Russian, Chinese (simplified and traditional).
_HEADINGS: Mapping[str, tuple[str, ...]] = {
    "id": ("ID",),
    "call_id": ("Call ID", "ID de llamada", "Anruf-ID", "ID d'appel", "ID chiamata", "ID da chamada", "通话ID"),
    "time": (
        *("Time", "Start Time", "Call Time", "Date", "Hora", "Hora de inicio", "Fecha", "Zeit", "Uhrzeit", "Datum"),
        *("Heure", "Date et heure", "Ora", "Data", "Data e ora", "Horário", "Tijd", "Czas", "Čas", "Zaman", "Время"),
        *("Дата", "时间", "開始時間", "开始时间", "時間"),
    ),
    "call_from": (
        *("Call From", "Caller", "Llamada desde", "Llamante", "Origen", "Anruf von", "Anrufer", "Von", "Appel de"),
        *("Appelant", "Appel depuis", "Chiamata da", "Chiamante", "Da", "Chamada de", "Chamador", "De", "Oproep van"),
        *("Beller", "Połączenie od", "Dzwoniący", "Hovor od", "Volající", "Arayan", "Вызов от", "Кто звонил"),
        *("Звонок от", "主叫", "主叫号码", "主叫號碼", "来电"),
    ),
    "call_to": (
        *("Call To", "Callee", "Called", "Llamada a", "Llamado", "Destino", "Anruf an"),
        *("Angerufener", "An", "Appel à"),
        *("Appelé", "Appel vers", "Chiamata a", "Chiamato", "A", "Chamada para", "Para", "Oproep naar", "Gebeld"),
        *("Połączenie do", "Hovor na", "Volaný", "Aranan", "Вызов на", "Кому звонили", "Звонок на", "被叫"),
        *("被叫号码", "被叫號碼"),
    ),
    "duration": (
        *("Call Duration", "Duration", "Duración de la llamada", "Duración", "Anrufdauer", "Gesprächsdauer gesamt"),
        *("Dauer", "Durée de l'appel", "Durée d'appel", "Durée", "Durata chiamata"),
        *("Durata della chiamata", "Durata"),
        *("Duração da chamada", "Duração", "Gespreksduur", "Oproepduur", "Czas trwania połączenia", "Délka hovoru"),
        *("Çağrı süresi", "Длительность вызова", "Длительность звонка", "通话时长", "呼叫时长", "通話時長"),
    ),
    "ring_duration": (
        *("Ring Duration", "Duración del timbre", "Duración de timbre", "Klingeldauer", "Rufdauer"),
        *("Durée de sonnerie", "Durée de la sonnerie", "Durata squillo", "Durata dello squillo", "Duração do toque"),
        *("Belduur", "Rinkelduur", "Czas dzwonienia", "Doba vyzvánění", "Çalma süresi", "Длительность звонков"),
        *("Длительность дозвона", "响铃时长", "振铃时长", "響鈴時長"),
    ),
    "talk_duration": (
        *("Talk Duration", "Billable Duration", "Duración de la conversación", "Tiempo de conversación"),
        *("Gesprächsdauer", "Sprechdauer", "Durée de conversation", "Durée de la conversation"),
        *("Durata conversazione", "Durata della conversazione", "Duração da conversa", "Spreekduur", "Gesprekstijd"),
        "Czas rozmowy",
        *("Doba rozhovoru", "Konuşma süresi", "Длительность разговора", "通话时间", "通話時間", "计费时长"),
    ),
    "disposition": (
        *("Status", "Last Status", "Estado", "Último estado", "Statut", "État", "Stato", "Situação", "Stav", "Durum"),
        *("Статус", "Состояние", "状态", "狀態"),
    ),
    "reason": (
        *("Reason", "Razón", "Motivo", "Grund", "Raison", "Motif", "Reden", "Powód", "Důvod", "Neden", "Причина"),
        *("原因",),
    ),
    "src_trunk": (
        *("Source Trunk", "Troncal de origen", "Quell-Trunk", "Quellleitung", "Quell-Amtsleitung", "Trunk source"),
        *("Ligne source", "Trunk di origine", "Trunk sorgente", "Tronco de origem", "Bron-trunk", "Brontrunk"),
        *(
            "Łącze źródłowe",
            "Zdrojový trunk",
            "Kaynak trunk",
            "Исходящий транк",
            "Транк источника",
            "源中继",
            "来电中继",
        ),
    ),
    "dst_trunk": (
        *("Destination Trunk", "Troncal de destino", "Ziel-Trunk", "Zielleitung", "Ziel-Amtsleitung"),
        *("Trunk de destination", "Ligne de destination", "Trunk di destinazione", "Tronco de destino", "Doeltrunk"),
        *(
            "Bestemmingstrunk",
            "Łącze docelowe",
            "Cílový trunk",
            "Hedef trunk",
            "Транк назначения",
            "目的中继",
            "去电中继",
        ),
    ),
    "call_type": (
        *("Communication Type", "Call Type", "Tipo de comunicación", "Tipo de llamada", "Kommunikationstyp"),
        *("Kommunikationsart", "Anruftyp", "Type de communication", "Type d'appel", "Tipo di comunicazione"),
        *("Tipo di chiamata", "Tipo de comunicação", "Tipo de chamada", "Communicatietype", "Oproeptype"),
        *(
            "Typ komunikacji",
            "Typ komunikace",
            "İletişim türü",
            "Тип связи",
            "Тип вызова",
            "通话类型",
            "通話類型",
            "呼叫类型",
        ),
    ),
    "did_number": ("DID", "DID/DDI", "DID Number"),
    "did_name": ("DID Name", "Nombre DID", "DID-Name", "Nom DID", "Nome DID"),
    "dod_number": ("DOD", "Outbound Caller ID"),
    "pin_code": ("PIN Code", "Código PIN", "PIN-Code", "Code PIN", "Codice PIN", "Pincode", "Kod PIN", "PIN码"),
    "record_file": (
        *("Recording File", "Recording", "Archivo de grabación", "Grabación", "Aufzeichnungsdatei", "Aufnahmedatei"),
        *("Aufnahme", "Fichier d'enregistrement", "Enregistrement", "File di registrazione", "Registrazione"),
        *("Arquivo de gravação", "Gravação", "Opnamebestand", "Plik nagrania", "Soubor nahrávky", "Kayıt dosyası"),
        *("Файл записи", "录音文件", "錄音檔案"),
    ),
    "src_addr": (
        *("Caller IP Address", "Dirección IP del llamante", "IP-Adresse des Anrufers", "Adresse IP de l'appelant"),
        *("Indirizzo IP del chiamante", "Endereço IP do chamador", "IP-adres van beller", "IP-адрес вызывающего"),
        *("主叫IP地址",),
    ),
}

_IGNORED = re.compile(r"\([^)]*\)|[\s_'’.\-]+")


def list_name(heading: str) -> str:
    """Return the name in the PBX's list for a heading; unknown headings are returned unchanged.

    >>> list_name("Duración de la llamada(s)"), list_name("Call From"), list_name("Colour")
    ('duration', 'call_from', 'Colour')
    """
    return _names_by_heading().get(_fold(heading), heading)


@cache
def _names_by_heading() -> Mapping[str, str]:
    return {_fold(heading): name for name, headings in _HEADINGS.items() for heading in headings}


def _fold(heading: str) -> str:
    decomposed = unicodedata.normalize("NFKD", heading)
    plain = "".join(character for character in decomposed if not unicodedata.combining(character))
    return _IGNORED.sub("", plain).casefold()
